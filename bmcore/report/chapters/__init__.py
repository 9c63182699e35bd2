"""What the report says: a file a chapter, each as blocks."""
