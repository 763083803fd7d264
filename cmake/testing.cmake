# `colcon test`: the tests that need ROS, and the ament linters that agree with ruff.
#
# ruff and mypy are this project's linters (`make lint`, pyproject.toml). Of ament's, flake8 runs
# with the rules both know (.flake8), xmllint as it is, and pep257 without the underlined section
# names of NumPy's style (D406, D407) and what ruff does better: it lets a property name what it is
# (D401) and knows names (D403). copyright does not run: the licence is stated once, in LICENSE and
# package.xml, not at the head of every file.

# The tests run in the Python that the nodes would, that of an active virtual environment; and not
# in the source folder, whose vseg_ros has no message types beside it.
find_program(VSEG_PYTHON python3 PATHS $ENV{VIRTUAL_ENV}/bin ENV PATH NO_DEFAULT_PATH)
find_package(ament_cmake_pytest REQUIRED)
foreach(folder nodes ros)
  ament_add_pytest_test(${folder} test/${folder} TIMEOUT 1800
    PYTHON_EXECUTABLE ${VSEG_PYTHON} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
endforeach()

find_package(ament_cmake_flake8 REQUIRED)
ament_flake8(CONFIG_FILE ${CMAKE_CURRENT_SOURCE_DIR}/.flake8)
find_package(ament_cmake_pep257 REQUIRED)
ament_pep257(vseg_ros launch --add-ignore D401 D403 D406 D407)
find_package(ament_cmake_xmllint REQUIRED)
ament_xmllint()
