"""Gates: what a file may say, how it is judged and audited, and what follows."""
