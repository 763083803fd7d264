"""Scores, the Warm-up-then-Freeze protocol and the report; runs without ROS."""
