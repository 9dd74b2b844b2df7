"""How good the demo model is: a frozen file of questions that it was never trained on, and the judge of its answers."""
