"""Learned exit policies: what they see, how they answer, how they are kept and explained. Without numpy."""
