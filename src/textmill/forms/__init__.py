"""The forms of a model: what computes its logits from token ids."""
