"""How a study is shown: terminal, files, page, figures, W&B. Computes nothing."""
