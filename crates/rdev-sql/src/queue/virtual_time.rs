//! Virtual start times, by which callers and projects are served round-robin.

/// Virtual time before that of a job that becomes pending now: that of its caller's last job for the project, and not less
/// than the clock, which is the time to which the lane has been served.
macro_rules! virtual_time_before {
    ($lane:literal, $created_by:literal, $project:literal, $priority:literal) => {
        concat!(
            "SELECT COALESCE(MAX(virtual_time), 0) FROM (
                 SELECT MAX(virtual_time) AS virtual_time FROM queue WHERE lane = ",
            $lane,
            " AND created_by = ",
            $created_by,
            " AND project = ",
            $project,
            " AND priority = ",
            $priority,
            " UNION ALL SELECT virtual_time FROM virtual_clocks WHERE lane = ",
            $lane,
            " AND priority = ",
            $priority,
            ") AS times"
        )
    };
}
pub(crate) use virtual_time_before;
