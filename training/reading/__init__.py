"""Networks that read a photograph (what covers a face, where its landmarks are), trained on generated people."""
