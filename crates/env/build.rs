//! Writes down when this program was built: the machine's clock cannot be right and earlier than that.

use std::time::SystemTime;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // Builds that can be reproduced say what time it shall have been.
    let told = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("cargo::rustc-env=COVENANT_BUILT={}", told.unwrap_or(now));
}
