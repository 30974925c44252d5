//! The series as comma-separated values, one line a second.

use std::fmt::Write as _;

use super::run_report::RunReport;

/// All of it.
pub(crate) fn csv(report: &RunReport) -> String {
    let mut text = "second,sent,answered,in_flight,p50_us,p99_us,max_us\n".to_owned();
    for one in &report.series {
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            one.second, one.sent, one.answered, one.in_flight, one.p50_us, one.p99_us, one.max_us
        );
    }
    text
}
