"""What the claims of speed, memory and quality are measured with; run by hand."""
