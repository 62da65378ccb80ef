//! How do I test what happens after an hour, without waiting for it?
//!
//! In the testkit's world time passes when everything waits. A reminder of an hour comes at once, a neighbour is stood in
//! for, and the same test takes the same course each time.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use covenant::prelude::*;
use covenant_testkit::Kit;

/// Tells the clerk of a bill that nobody paid within an hour, once.
struct Bill {
    clerk: Ref<String>,
    paid: bool,
}

enum OfBill {
    Paid,
    Due,
}

impl Behaviour for Bill {
    type Config = NoConfig;
    type Message = OfBill;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.send_after(Duration::from_secs(3600), OfBill::Due);
        let clerk = "/clerk".parse().map_err(StartError::failed)?;
        Ok(Self { clerk: ctx.lookup(&clerk).map_err(StartError::failed)?, paid: false })
    }

    async fn handle(&mut self, message: OfBill, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            OfBill::Paid => self.paid = true,
            OfBill::Due if self.paid => return Err(Exit::normal()),
            OfBill::Due => self.clerk.cast("a bill is overdue".to_owned()).await.map_err(Exit::error)?,
        }
        Ok(())
    }
}

const TREE: &str = r#"
[[child]]
id = "clerk"
behaviour = "clerk"

[[child]]
id = "bill"
behaviour = "bill"
restart = "transient"
"#;

fn main() {
    covenant_testkit::run(async {
        let mut kit = Kit::new().behaviour::<Bill>("bill");
        let clerk = kit.stand_in::<String>("clerk");
        let tree = kit.start(TREE).await;
        assert!(clerk.hears_nothing_for(Duration::from_secs(3599)).await);
        println!("59 minutes and 59 seconds: nothing");
        println!("then: {}", clerk.next().await);

        // A crash forgets the reminder with the rest of the state. The next incarnation begins its own hour.
        tree.kill("/bill").await;
        tree.until_incarnation("/bill", 2).await;
        tree.cast("/bill", OfBill::Paid).await;
        assert!(clerk.hears_nothing_for(Duration::from_secs(7200)).await);
        println!("paid: two more hours of nothing");
        tree.stop().await;
    });
}
