"""Videos, pictures and folders of pictures, read and written."""
