"""Install vseg_ros with pip, without ROS: the `vseg` command and the Python package."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(line.split("'")[1] for line in
               (ROOT / 'vseg_ros' / '__init__.py').read_text().splitlines()
               if line.startswith('__version__'))

setup(
    name='vseg_ros',
    version=VERSION,
    description='Video segmentation a robot can trust: steady labels out of any image segmenter',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['vseg_ros', 'vseg_ros.*']),
    package_data={'vseg_ros': ['assets/*.safetensors']},
    python_requires='>=3.10',
    # the oldest that the tests pass with: docs/install.md says how to try
    install_requires=[
        'torch>=2.8', 'transformers>=5.20,<6', 'numpy>=1.26', 'opencv-python-headless>=4.8',
        'rosbags>=0.11.6', 'pydantic>=2.11', 'typer>=0.26', 'rich>=13', 'pyyaml>=6',
        'safetensors>=0.4.5', 'av>=14.2', 'accelerate>=1.1', 'onnx>=1.17', 'onnxscript>=0.6.2',
        'onnxruntime>=1.20', 'scipy>=1.11',
    ],
    extras_require={
        'gpu': ['onnxruntime-gpu>=1.20'],
        'train': ['tensorboard>=2.14'],
        'ray': ['ray[client]>=2.40'],
        'virst': ['peft>=0.18', 'bitsandbytes>=0.43'],
        'dev': ['pytest>=8', 'pytest-timeout>=2.3', 'pytest-xdist>=3.6', 'hypothesis>=6.100',
                'filelock>=3.12', 'mypy>=1.13', 'ruff>=0.8', 'types-PyYAML',
                'tensorboard>=2.14', 'peft>=0.18'],
    },
    entry_points={'console_scripts': ['vseg=vseg_ros.cli:main']},
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
