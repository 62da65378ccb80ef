//! What a supervisor and its children are to be. Checked as a whole, or not at all.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Backoff;

/// The name of a child within its supervisor: `[a-z0-9_-]+`, at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(Arc<str>);

impl ChildId {
    /// Checks `text` and makes it an id.
    ///
    /// # Errors
    /// The text is empty, longer than 64 bytes, or has a character outside `a-z`, `0-9`, `_` and `-`.
    pub fn new(text: &str) -> Result<Self, SpecError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(SpecError::BadId(text.chars().take(64).collect()))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which siblings share the fate of a child that is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// None.
    #[default]
    OneForOne,
    /// All.
    OneForAll,
    /// Those started after it.
    RestForOne,
    /// None: its children are instances of one template, started and ended while it runs. OTP's `simple_one_for_one`.
    Dynamic,
}

/// Whether a supervisor ends when its significant children have ended by themselves, for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoShutdown {
    /// It does not; no child may be significant.
    #[default]
    Never,
    /// When the first of them has.
    AnySignificant,
    /// When the last of them has.
    AllSignificant,
}

/// How many restarts of one child are forgiven within a time. They are not counted against its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many are forgiven.
    pub intensity: u32,
    /// The window.
    pub period: Duration,
}

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// When it ended abnormally.
    Transient,
    /// Never; its spec goes with it.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is killed at once.
    BrutalKill,
    /// It is asked, and killed when it has not ended by then.
    Timeout(Duration),
    /// It is asked and waited for.
    Infinity,
}

/// What a child is. A supervisor's own children take their time to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    /// It does work.
    Worker,
    /// It supervises.
    Supervisor,
}

/// One child.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildSpec {
    /// Its name, unique in its supervisor.
    pub id: ChildId,
    /// What it is.
    pub kind: ChildKind,
    /// When it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// The pause before it is started again; none where this is none.
    pub backoff: Option<Backoff>,
    /// How long a killed child may take to end before it counts as unkillable.
    pub kill_grace: Duration,
    /// Whether its end by itself, for good, counts for its supervisor's [`AutoShutdown`].
    pub significant: bool,
    /// How many of its restarts are forgiven, apart from its supervisor's intensity; none where that decides.
    pub budget: Option<Budget>,
    /// Whether its successor starts while a killed incarnation does not end.
    pub allow_overlap: bool,
}

impl ChildSpec {
    /// OTP's defaults: permanent, five seconds to stop for a worker and for ever for a supervisor.
    pub fn new(id: ChildId, kind: ChildKind) -> Self {
        let shutdown = match kind {
            ChildKind::Worker => Shutdown::Timeout(Duration::from_secs(5)),
            ChildKind::Supervisor => Shutdown::Infinity,
        };
        Self {
            id,
            kind,
            restart: Restart::Permanent,
            shutdown,
            backoff: None,
            kill_grace: Duration::from_secs(1),
            significant: false,
            budget: None,
            allow_overlap: false,
        }
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// The back-off or the budget makes no sense, a killed child would have no time to end, or a permanent child is
    /// significant, which would never matter.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.kill_grace.is_zero() {
            return Err(SpecError::ZeroKillGrace(self.id.clone()));
        }
        if self.budget.is_some_and(|budget| budget.period.is_zero()) {
            return Err(SpecError::ZeroBudgetPeriod(self.id.clone()));
        }
        if self.significant && self.restart == Restart::Permanent {
            return Err(SpecError::SignificantPermanent(self.id.clone()));
        }
        match &self.backoff {
            Some(backoff) if !backoff.is_valid() => Err(SpecError::BadBackoff(self.id.clone())),
            Some(_) | None => Ok(()),
        }
    }

    /// The longest its stop can take, the kill of one that does not obey included. `None` without a limit.
    pub(crate) fn stop_bound(&self) -> Option<Duration> {
        match self.shutdown {
            Shutdown::BrutalKill => Some(self.kill_grace),
            Shutdown::Timeout(timeout) => timeout.checked_add(self.kill_grace),
            Shutdown::Infinity => None,
        }
    }
}

/// A supervisor and its children, in start order.
#[derive(Clone, Debug, PartialEq)]
pub struct SupervisorSpec {
    /// Which siblings share a fate.
    pub strategy: Strategy,
    /// How many restarts are forgiven within `period`; no more than a million are, whatever it says.
    pub intensity: u32,
    /// The window.
    pub period: Duration,
    /// Whether it ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// The children. A dynamic supervisor has one: the template of its instances, which itself never runs.
    pub children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// OTP's defaults: one restart in five seconds is forgiven, and no child is significant.
    pub fn new(strategy: Strategy, children: Vec<ChildSpec>) -> Self {
        Self { strategy, intensity: 1, period: Duration::from_secs(5), auto_shutdown: AutoShutdown::Never, children }
    }

    /// The most children one supervisor may have.
    pub const CHILDREN_MAX: usize = 200_000;

    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.period.is_zero() {
            return Err(SpecError::ZeroPeriod);
        }
        if self.children.len() > Self::CHILDREN_MAX {
            return Err(SpecError::TooManyChildren(self.children.len()));
        }
        if self.strategy == Strategy::Dynamic {
            if self.children.len() != 1 {
                return Err(SpecError::NotOneTemplate(self.children.len()));
            }
            if self.auto_shutdown != AutoShutdown::Never {
                return Err(SpecError::DynamicAutoShutdown);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for child in &self.children {
            child.validate()?;
            self.auto_shutdown.admits(child)?;
            if !seen.insert(&child.id) {
                return Err(SpecError::DuplicateId(child.id.clone()));
            }
        }
        Ok(())
    }
}

impl AutoShutdown {
    /// Whether `child` may be among the children, its id apart.
    pub(crate) fn admits(self, child: &ChildSpec) -> Result<(), SpecError> {
        if child.significant && self == Self::Never {
            return Err(SpecError::SignificantNever(child.id.clone()));
        }
        Ok(())
    }
}

/// What is wrong with a spec. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A text that cannot be a child's id.
    #[error("{0:?} is not a child's id: use 1 to 64 of a-z, 0-9, '_' and '-'")]
    BadId(String),
    /// Two children share an id.
    #[error("two children have the id {0}")]
    DuplicateId(ChildId),
    /// The window has no length.
    #[error("period must be longer than zero")]
    ZeroPeriod,
    /// A killed child would have no time to end, and always count as unkillable.
    #[error("the kill_grace of {0} must be longer than zero")]
    ZeroKillGrace(ChildId),
    /// The window of a child's own budget has no length.
    #[error("the budget of {0} needs a period longer than zero")]
    ZeroBudgetPeriod(ChildId),
    /// A permanent child never ends for good.
    #[error("{0} is permanent and never ends for good, so it cannot be significant: make it transient or temporary")]
    SignificantPermanent(ChildId),
    /// A significant child where none counts.
    #[error("{0} is significant, and auto_shutdown is never: set any_significant or all_significant")]
    SignificantNever(ChildId),
    /// A dynamic supervisor has instances of one template.
    #[error("a dynamic supervisor has one child, the template of its instances, not {0}")]
    NotOneTemplate(usize),
    /// Instances of a template come and go.
    #[error("a dynamic supervisor does not end with its children: auto_shutdown must be never")]
    DynamicAutoShutdown,
    /// What cannot be changed while a supervisor runs.
    #[error("a supervisor that runs cannot become dynamic or cease to be")]
    StrategyChanged,
    /// A back-off whose bounds contradict each other.
    #[error("the backoff of {0} needs 0 < min <= max and 0 <= jitter <= 1")]
    BadBackoff(ChildId),
    /// More children than a supervisor may have.
    #[error("{0} children are more than the {max} a supervisor may have", max = SupervisorSpec::CHILDREN_MAX)]
    TooManyChildren(usize),
}
