# vseg_ros on the official ROS 2 image.
#
#   docker build -t vseg_ros .
#   docker run --rm -it --net=host --ipc=host vseg_ros
#   docker run --rm -it --net=host --ipc=host --gpus all vseg_ros \
#     ros2 launch vseg_ros ditta.launch.py image:=/camera/image_raw device:=cuda
#
# pip chooses the build of PyTorch: that for NVIDIA GPUs, a few GB. PyTorch has an index with smaller
# builds for CPUs, and others for each CUDA: --build-arg PIP_EXTRA_INDEX_URL=... takes from there.

ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

ARG PIP_EXTRA_INDEX_URL=
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV VIRTUAL_ENV=/opt/vseg/venv
WORKDIR /opt/vseg

RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv --system-site-packages "${VIRTUAL_ENV}" \
 && touch "${VIRTUAL_ENV}/COLCON_IGNORE"

# The slow layers need these files alone, so a change of the code does not repeat them. Below 2,
# NumPy is the one that apt's Python extensions were built against.
COPY package.xml src/vseg_ros/
RUN apt-get update \
 && rosdep update --rosdistro "${ROS_DISTRO}" \
 && rosdep install --from-paths src --ignore-src --rosdistro "${ROS_DISTRO}" --yes \
 && rm -rf /var/lib/apt/lists/*
COPY setup.py pyproject.toml README.md src/vseg_ros/
COPY vseg_ros/__init__.py src/vseg_ros/vseg_ros/
RUN "${VIRTUAL_ENV}/bin/pip" install --no-cache-dir 'numpy<2' ./src/vseg_ros \
 && "${VIRTUAL_ENV}/bin/pip" uninstall --yes vseg_ros

COPY . src/vseg_ros
RUN source "/opt/ros/${ROS_DISTRO}/setup.bash" \
 && source "${VIRTUAL_ENV}/bin/activate" \
 && colcon build --cmake-args -DBUILD_TESTING=OFF \
 && rm -rf build log \
 && printf '%s\n' '#!/bin/bash' 'set -e' "source ${VIRTUAL_ENV}/bin/activate" \
      'source /opt/vseg/install/setup.bash' 'exec "$@"' > /opt/vseg/entrypoint.sh \
 && chmod +x /opt/vseg/entrypoint.sh

ENTRYPOINT ["/opt/vseg/entrypoint.sh"]
CMD ["ros2", "launch", "vseg_ros", "demo.launch.py"]
