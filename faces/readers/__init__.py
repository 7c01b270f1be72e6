"""Small networks that read a photograph. They are trained in training/reading on generated people; weights lie here."""
