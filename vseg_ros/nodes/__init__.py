"""
The ROS 2 nodes: thin, and the only place that knows rclpy.

A node subscribes to a camera (`conversions`, `qos`), hands the newest image to a worker thread
(`mailbox`), and publishes what the pipeline returns (`outputs`), with figures about the stream
(`stream_monitor`). The node that is asked keeps a window of frames instead (`frame_intake`) and
answers in a thread of its own (`query_worker`, `mask_outputs`). This module imports nothing, so
that `mailbox` and `stream_monitor` can be used where there is no ROS.
"""
