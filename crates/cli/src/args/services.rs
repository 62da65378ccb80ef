//! What can be typed of money and content.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use covenant_ledger::Account;
use covenant_types::{NodeName, TransferId};

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerVerb {
    /// Book what each nation owes for a year: 0.01 % of its GDP. Twice books once
    Assess {
        /// The year owed for
        #[arg(long)]
        year: u16,
    },
    /// Book a profit: 50 % to communities, 30 % to nations by GDP, 20 % to the reserve
    Distribute {
        /// Dollars and cents, as 1234.56
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// 1 to 32 hexadecimal digits; the same id twice books once. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Book one movement of money between two accounts
    Transfer {
        /// The account that gives
        #[arg(long)]
        from: String,
        /// The account that receives
        #[arg(long)]
        to: String,
        /// Dollars and cents, as 1234.56
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// The nation that a payment into a project concerns, by its ISO alpha-3 code
        #[arg(long)]
        nation: Option<String>,
        /// 1 to 32 hexadecimal digits; the same id twice books once. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Set money aside until it is posted, voided or its time is over
    Pend {
        /// The account that gives
        #[arg(long)]
        from: String,
        /// The account that receives
        #[arg(long)]
        to: String,
        /// Dollars and cents, as 1234.56
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// The nation that a payment into a project concerns, by its ISO alpha-3 code
        #[arg(long)]
        nation: Option<String>,
        /// Free again after so many seconds, by the clock of whoever leads; without it never
        #[arg(long)]
        expires_after: Option<u32>,
        /// 1 to 32 hexadecimal digits, by which it is posted or voided; the same id twice books once. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Move what was set aside; what is not posted of it is free again
    Post {
        /// The id of what was set aside
        pending: TransferId,
        /// How much; all of it when left out
        #[arg(long, allow_hyphen_values = true)]
        amount: Option<String>,
        /// The id of this transfer. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Free what was set aside
    Void {
        /// The id of what was set aside
        pending: TransferId,
        /// The id of this transfer. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Move money back that went wrong: nothing in the book is changed, another transfer is added
    Correct {
        /// The id of the transfer that was wrong
        of: TransferId,
        /// How much; all that is left to correct when left out
        #[arg(long, allow_hyphen_values = true)]
        amount: Option<String>,
        /// The id of this transfer. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// Close the books up to the end of a year, for ever: nothing is posted in it any more
    Close {
        /// The last year to close
        #[arg(long)]
        through: u16,
    },
    /// What happened on an account, line by line
    Statement {
        /// The account, as treasury, nation:KEN, project:CODE or 32 hexadecimal digits
        account: Account,
        /// The number of the transfer to begin at
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// Who gave and who received in a year, by nation, region, sector and project
    Report {
        /// The year
        #[arg(long)]
        year: u16,
        /// Write the picture of it, an SVG, into this new file
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// What towers may spend while nobody hears them
    #[command(subcommand)]
    Allowance(AllowanceVerb),
    /// On a tower: sign a payment from its allowance, to be booked when the book can be reached
    Intend {
        /// The account that receives
        #[arg(long)]
        to: String,
        /// Dollars and cents, as 1234.56
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// The nation that a payment into a project concerns, by its ISO alpha-3 code
        #[arg(long)]
        nation: Option<String>,
        /// 1 to 32 hexadecimal digits; the same id twice is signed once. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// On a tower: its device, what it signed, and what became of it
    Outbox,
    /// What only a person can settle
    Inbox {
        /// What to do
        #[command(subcommand)]
        verb: Option<InboxVerb>,
    },
    /// What each account holds
    Balances {
        /// Show what a node near by has, though it may be behind, and how old it is
        #[arg(long)]
        stale: bool,
    },
    /// Who keeps the book, who leads, and how far it is
    Status,
    /// Give a hub or voter a vote on the book, or take it
    #[command(subcommand)]
    Voters(VotersVerb),
    /// The keys that public logs are verified with: copy them while you trust the cluster
    Keys,
    /// Check a whole public log, and do all of it again: nobody need be believed but the keys
    Verify(VerifyArgs),
    /// Add the whole book up again
    Check,
    /// Print the whole book for another program
    Export {
        /// The form
        #[arg(long, value_enum, default_value = "hledger")]
        format: ExportFormat,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Where the log is: http://HOST:PORT/ledger, or a folder with its files and nothing else
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) from: String,
    /// The log's key, as `ledger keys` shows it. Without it the cluster is asked, and believed
    #[arg(long, value_name = "VKEY")]
    pub(crate) log: Option<String>,
    /// The key of a witness; once for each
    #[arg(long, value_name = "VKEY", requires = "log")]
    pub(crate) witness: Vec<String>,
    /// How many of the witnesses it takes. Half of all voters, if these are all but the log's own, when left out
    #[arg(long, value_name = "N")]
    pub(crate) quorum: Option<usize>,
    /// A checkpoint that was kept: the log must extend it. Once for each
    #[arg(long, value_name = "FILE")]
    pub(crate) earlier: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AllowanceVerb {
    /// Open an allowance for the device of a tower, and fill it. What is left at its end goes back
    Open {
        /// The device's public key, as `ledger outbox` shows it on the tower
        #[arg(long)]
        device: String,
        /// The account that fills it
        #[arg(long)]
        from: String,
        /// Dollars and cents, as 1234.56
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// 1 to 32 hexadecimal digits; the same id twice books once. Random when left out
        #[arg(long)]
        id: Option<TransferId>,
    },
    /// What is left of allowances, and what waits for whom
    Status {
        /// The device; all when left out
        device: Option<String>,
    },
    /// On a tower: sign that nothing more comes; what is left goes back when the book has it
    Close,
    /// End an allowance whose device does not come back; what it signed and comes later goes to the inbox
    WriteOff {
        /// The device
        device: String,
        /// Why, for those who read it later
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InboxVerb {
    /// Book an entry or reject it, once
    Resolve {
        /// The number of the entry
        entry: u64,
        /// Book it: from its allowance, or from the account that had filled it
        #[arg(long, required_unless_present = "reject", conflicts_with = "reject")]
        book: bool,
        /// Reject it
        #[arg(long)]
        reject: bool,
        /// Why, for those who read it later
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VotersVerb {
    /// Give a node a vote, when it has the book: 3 or 5 voters bear the loss of 1 or 2
    Add {
        /// A hub or voter of the cluster
        node: NodeName,
    },
    /// Take a node's vote, and its place in the group. It need not be alive
    Remove {
        /// The node
        node: NodeName,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A journal that `hledger check` accepts
    Hledger,
    /// A table with a line for each transfer
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContentVerb {
    /// Publish a folder as a signed dataset
    Publish {
        /// The folder
        dir: PathBuf,
        /// The dataset's name; publishing it again makes a new version
        #[arg(long)]
        name: String,
        /// health, education, fintech or general
        #[arg(long)]
        class: String,
    },
    /// What each node holds, how complete and how fresh
    Ls,
    /// Fetch every dataset of a class from now on
    Subscribe {
        /// health, education, fintech or general
        class: String,
    },
    /// Stop fetching a class; what is here stays
    Unsubscribe {
        /// health, education, fintech or general
        class: String,
    },
    /// Write a dataset that the node holds into a folder, every chunk verified
    Get {
        /// The dataset's name
        name: String,
        /// The folder, which must not exist yet
        #[arg(long)]
        to: PathBuf,
    },
}
