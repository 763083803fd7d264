"""Time2General: segmentation that holds in any weather, at any frame rate; one file a section."""
