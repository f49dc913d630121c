"""The methods by which a decision is explained, and what they find."""
