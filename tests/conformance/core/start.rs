//! Starting: cases 1 to 12.

use super::*;

#[test]
fn sup_start_normal() {
    let mut bench = Bench::new(OneForOne, "");
    assert_eq!(bench.run("boot; shutdown"), "started; exit shutdown");
}
