"""Generated people: identities, scenes, a renderer with exact truth, FFHQ-layout folders and true swaps."""
