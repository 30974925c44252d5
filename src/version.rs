//! Which build this is: the version, the revision of its source, and the compiler. Nothing about where or when.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built of; `unknown` where neither a repository nor `STARTJOBS_REVISION` told the build.
pub const REVISION: &str = env!("STARTJOBS_BUILD_REVISION");
/// The version of the compiler.
pub const RUSTC: &str = env!("STARTJOBS_BUILD_RUSTC");
/// All of it, as `--version` prints it behind the name.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nrevision  ",
    env!("STARTJOBS_BUILD_REVISION"),
    "\nrustc     ",
    env!("STARTJOBS_BUILD_RUSTC")
);
