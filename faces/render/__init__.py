"""Pictures of meshes: triangle index, barycentrics, depth; spherical-harmonic light; antialiased renders of a head."""
