"""What tables mean: schemas, readers, columns, the generator, and the files of a graph."""
