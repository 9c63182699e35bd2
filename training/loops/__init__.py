"""How each net is trained."""
