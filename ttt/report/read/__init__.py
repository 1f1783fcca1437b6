"""Where runs come from: run folders, and anybody's MLPerf logs."""
