"""TensorFlow: the three maps, eagerly and in graphs."""
