"""Records of tasks: instructions, preference pairs, problems, reviews and dialogues."""
