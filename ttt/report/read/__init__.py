"""Where runs come from: run folders of ttt, and MLPerf logs of any submitter."""
