"""Rosbags, video files, image folders and the synthetic street: where frames come from and go."""
