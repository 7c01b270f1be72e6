"""One file a face-swapping method; every one fulfils training.methods.base.Method."""
