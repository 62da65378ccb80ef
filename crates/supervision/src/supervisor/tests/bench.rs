//! A driver without a world: it plays the children and the clock, and writes down what it was told to do.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt, StartAttempts, Uptime, parse_duration};

use super::script::{self, Nature, id};
use crate::{AdminDone, AdminRequest, ChildId, ChildState, Effect, Event, ReportContext, Strategy, Supervisor, Timer};

pub(crate) struct Bench {
    pub(crate) core: Supervisor,
    pub(crate) reports: Vec<String>,
    /// What operators were answered.
    pub(crate) answers: Vec<String>,
    /// How often each child came up since its spec was there.
    pub(crate) ups: BTreeMap<ChildId, u32>,
    log: Vec<String>,
    pub(crate) now: Uptime,
    natures: BTreeMap<ChildId, Nature>,
    /// What runs or starts, as far as the driver knows.
    attempts: BTreeMap<ChildId, StartAttempt>,
    pub(crate) timers: Vec<(Uptime, Timer)>,
    events: VecDeque<Event>,
    calls: u64,
}

impl Bench {
    pub(crate) fn new(strategy: Strategy, children: &str) -> Self {
        let (spec, natures) = script::supervisor(strategy, children);
        let ids = spec.children.iter().map(|child| child.id.clone());
        Self {
            natures: ids.zip(natures).collect(),
            core: Supervisor::new(spec, StartAttempts::default(), 1).unwrap(),
            reports: Vec::new(),
            answers: Vec::new(),
            ups: BTreeMap::new(),
            log: Vec::new(),
            now: Uptime::ZERO,
            attempts: BTreeMap::new(),
            timers: Vec::new(),
            events: VecDeque::new(),
            calls: 0,
        }
    }

    /// Plays steps parted by `; ` and returns what was done in each, parted likewise.
    pub(crate) fn run(&mut self, steps: &str) -> String {
        let mut done = Vec::new();
        for step in steps.split("; ") {
            self.step(step);
            done.push(std::mem::take(&mut self.log).join(", "));
        }
        done.join("; ")
    }

    pub(crate) fn state(&self, child: &str) -> Option<ChildState> {
        self.core.child(&id(child)).map(|view| view.state)
    }

    pub(crate) fn restarts(&self, child: &str) -> u64 {
        self.core.child(&id(child)).unwrap().restarts
    }

    fn step(&mut self, step: &str) {
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            ["boot"] => self.event(Event::StartRequested),
            ["shutdown"] => self.event(Event::ShutdownRequested),
            ["crash", child] => self.exit(child, ExitReason::Panicked("boom".into())),
            ["end", child] => self.exit(child, ExitReason::Normal),
            ["gone", child] => self.exit(child, ExitReason::Shutdown),
            ["gone", child, why] => self.exit(child, ExitReason::ShutdownWith(why.into())),
            ["die", child] => self.exit(child, ExitReason::Killed),
            // The same word once more, after its time.
            ["crash-again", child, attempt] => {
                let attempt = StartAttempt(attempt.parse().unwrap());
                let reason = ExitReason::Panicked("boom".into());
                self.event(Event::ChildExited { child: id(child), attempt, reason });
            }
            ["up", child] => {
                let attempt = self.attempt(child);
                self.event(Event::ChildStarted { child: id(child), attempt, info: None });
            }
            ["fail", child] => {
                let attempt = self.ended(child);
                let reason = ExitReason::Error("no".into());
                self.event(Event::ChildStartFailed { child: id(child), attempt, reason });
            }
            ["ignore", child] => {
                let attempt = self.ended(child);
                self.event(Event::ChildIgnored { child: id(child), attempt });
            }
            ["kill", child] => self.event(Event::KillRequested(id(child))),
            ["drain", child, within] => {
                let within = parse_duration(within).unwrap();
                self.event(Event::DrainRequested { child: id(child), within });
            }
            ["terminate", child] => self.admin(AdminRequest::Terminate(id(child))),
            ["restart", child] => self.admin(AdminRequest::Restart(id(child))),
            ["delete", child] => self.admin(AdminRequest::Delete(id(child))),
            ["add", child] => {
                let (spec, nature) = script::child(child);
                self.natures.insert(spec.id.clone(), nature);
                self.admin(AdminRequest::Start(spec));
            }
            ["instance", child] => {
                let (spec, nature) = script::child(child);
                self.natures.insert(spec.id.clone(), nature);
                self.admin(AdminRequest::StartInstance(spec.id));
            }
            // `replace STRATEGY, LIMITS AND CHILDREN`
            ["replace", strategy, ..] => {
                let text = step.strip_prefix("replace ").and_then(|rest| rest.strip_prefix(strategy)).unwrap();
                let strategy = match strategy {
                    "all" => Strategy::OneForAll,
                    "rest" => Strategy::RestForOne,
                    "dynamic" => Strategy::Dynamic,
                    _ => Strategy::OneForOne,
                };
                let (spec, natures) = script::supervisor(strategy, text.trim_start());
                for (child, nature) in spec.children.iter().zip(natures) {
                    self.natures.entry(child.id.clone()).or_insert(nature);
                }
                self.admin(AdminRequest::ReplaceSpecs(spec));
            }
            ["conflict", child] => self.exit(child, ExitReason::NameConflict("there".into())),
            // How a child behaves from now on.
            ["now", child] => {
                let (spec, nature) = script::child(child);
                self.natures.insert(spec.id, nature);
            }
            ["spoil", child, starts] => {
                self.natures.get_mut(&id(child)).unwrap().fails = starts.parse().unwrap();
            }
            ["pass", span] => self.pass(parse_duration(span).unwrap()),
            _ => panic!("no step {step:?}"),
        }
    }

    fn exit(&mut self, child: &str, reason: ExitReason) {
        let attempt = self.ended(child);
        self.event(Event::ChildExited { child: id(child), attempt, reason });
    }

    fn admin(&mut self, request: AdminRequest) {
        self.calls += 1;
        self.event(Event::Admin { call: self.calls, request });
    }

    fn attempt(&self, child: &str) -> StartAttempt {
        *self.attempts.get(&id(child)).unwrap_or_else(|| panic!("nothing runs of {child}"))
    }

    fn ended(&mut self, child: &str) -> StartAttempt {
        let attempt = self.attempt(child);
        self.attempts.remove(&id(child));
        attempt
    }

    /// Gives one event to the core and plays the world until nothing follows.
    fn event(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            if let Event::ChildStarted { child, .. } = &event {
                *self.ups.entry(child.clone()).or_default() += 1;
            }
            for effect in self.core.handle(self.now, event) {
                self.perform(effect);
            }
        }
    }

    /// Lets time pass, timers included; those that are due at its end as often as they come, within reason.
    fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        for _ in 0..10_000 {
            let due = self.timers.iter().enumerate().filter(|(_, (due, _))| *due <= end);
            let Some((at, _)) = due.min_by_key(|(_, (due, _))| *due) else {
                self.now = end;
                return;
            };
            let (due, timer) = self.timers.remove(at);
            self.now = self.now.max(due);
            self.event(Event::TimerFired(timer));
        }
        panic!("timers without end");
    }

    fn perform(&mut self, effect: Effect) {
        let line = match effect {
            Effect::Start { child, attempt } => return self.start(child, attempt),
            Effect::Stop { child, attempt } => {
                self.answer_unless(&child, attempt, |nature| nature.lasting, ExitReason::Shutdown);
                format!("stop {child}")
            }
            Effect::Drain { child, .. } => format!("drain {child}"), // and a step says when it has ended
            Effect::Discard { child, .. } => format!("discard {child}"),
            Effect::Kill { child, attempt } => {
                self.answer_unless(&child, attempt, |nature| nature.immortal, ExitReason::Killed);
                format!("kill {child}")
            }
            Effect::SetTimer { timer, after } => {
                assert!(self.timers.iter().all(|(_, set)| *set != timer), "{timer:?} is set already");
                return self.timers.push((self.now.after(after), timer));
            }
            Effect::CancelTimer(timer) => return self.timers.retain(|(_, set)| *set != timer),
            Effect::Report(report) if report.context == ReportContext::ReachedMaxIntensity => {
                return self.reports.push("max intensity".to_owned());
            }
            Effect::Report(report) => {
                let many = if report.count > 1 { format!(" x{}", report.count) } else { String::new() };
                let line = format!("{:?} {} {}{many}", report.context, report.offender, report.reason);
                return self.reports.push(line);
            }
            Effect::Forget(child) => format!("forget {child}"),
            Effect::ChildEnded { child } => format!("ended {child}"),
            Effect::Started => "started".to_owned(),
            Effect::StartFailed { reason } => format!("start failed: {reason}"),
            Effect::Exit { reason } => format!("exit {reason}"),
            Effect::Answer { call, result } => {
                assert!(call <= self.calls, "nobody asked");
                let answer = match result {
                    Ok(AdminDone::Started { info: Some(info), .. }) => format!("ok, started, {info}"),
                    Ok(AdminDone::Started { info: None, .. }) => "ok, started".to_owned(),
                    Ok(AdminDone::Ignored) => "ok, ignored".to_owned(),
                    Ok(AdminDone::Done) => "ok".to_owned(),
                    Err(error) => format!("refused: {error}"),
                };
                self.answers.push(answer.clone());
                answer
            }
        };
        self.log.push(line);
    }

    fn start(&mut self, child: ChildId, attempt: StartAttempt) {
        let nature = self.natures.get_mut(&child).unwrap();
        if nature.slow {
            self.log.push(format!("start {child}"));
            self.attempts.insert(child, attempt);
        } else if nature.fails > 0 {
            nature.fails -= 1;
            self.log.push(format!("start {child} fails"));
            let reason = ExitReason::Error("no".into());
            self.events.push_back(Event::ChildStartFailed { child, attempt, reason });
        } else if nature.taken {
            self.log.push(format!("start {child} taken"));
            let reason = ExitReason::NameConflict("other".into());
            self.events.push_back(Event::ChildStartFailed { child, attempt, reason });
        } else if nature.ignored {
            self.log.push(format!("start {child} ignored"));
            self.events.push_back(Event::ChildIgnored { child, attempt });
        } else {
            self.log.push(format!("start {child}"));
            self.attempts.insert(child.clone(), attempt);
            let info = nature.tells.then(|| "extra".to_owned());
            self.events.push_back(Event::ChildStarted { child, attempt, info });
        }
    }

    fn answer_unless(
        &mut self,
        child: &ChildId,
        attempt: StartAttempt,
        refuses: impl Fn(&Nature) -> bool,
        reason: ExitReason,
    ) {
        // Who has ended already has told so.
        if self.attempts.get(child) == Some(&attempt) && !refuses(&self.natures[child]) {
            self.attempts.remove(child);
            self.events.push_back(Event::ChildExited { child: child.clone(), attempt, reason });
        }
    }
}
