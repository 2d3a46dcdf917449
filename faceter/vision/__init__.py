"""Images in, numbers out: decoding image files, preprocessing, decoding detections."""
