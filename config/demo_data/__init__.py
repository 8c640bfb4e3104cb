"""The demo organization as plain data: who works there, what they may order, and what they ordered before."""
