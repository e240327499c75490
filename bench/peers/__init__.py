"""What denizen is measured against, each as its own documentation has it."""
