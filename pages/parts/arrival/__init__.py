"""What the Cases page shows of files on their way to becoming a case."""
