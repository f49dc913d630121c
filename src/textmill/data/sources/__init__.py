"""Where rows come from: files, packages of the index, the Hugging Face hub."""
