//! A report as a picture: who owed, paid and received by region, and what each sector was paid. SVG 1.1, no script, no font of
//! its own.

use std::fmt::Write as _;

use super::{Sums, YearReport};

const WIDTH: u32 = 960;
const LEFT: u32 = 170;
const BAR: u32 = 14;
const GAP: u32 = 18;
/// The longest bar, in pixels: there is room for its figure behind it.
const LONGEST: f64 = 580.0;
/// Distinct also for most who see few colours (Okabe and Ito's palette).
const OWED: &str = "#0072b2";
const PAID: &str = "#009e73";
const RECEIVED: &str = "#e69f00";
const SECTOR: &str = "#cc79a7";

/// One bar.
struct Bar {
    colour: &'static str,
    what: &'static str,
    amount: String,
}

/// The picture of a report.
pub fn plot(report: &YearReport) -> String {
    let by_region: Vec<(String, Vec<Bar>)> =
        report.regions.iter().map(|row| (row.region.clone(), bars(&row.sums))).collect();
    let of_sector = |amount: &str| vec![Bar { colour: SECTOR, what: "paid", amount: amount.to_owned() }];
    let by_sector: Vec<(String, Vec<Bar>)> =
        report.sectors.iter().map(|row| (row.sector.clone(), of_sector(&row.amount))).collect();

    let mut body = String::new();
    let title = format!("The covenant in {}", report.year);
    text(&mut body, (24, 40), "title", &title);
    let sums = &report.sums;
    let line = format!(
        "nations owe ${}, paid ${}, received ${}; communities were given ${}, the reserve ${}",
        sums.assessed, sums.paid, sums.received, report.communities, report.reserve
    );
    text(&mut body, (24, 64), "small", &line);
    let as_of = format!("as of entry {} of the log", report.as_of.position);
    text(&mut body, (24, 84), "small", &as_of);
    let mut y = 120;
    text(&mut body, (24, y), "head", "Regions: what nations owe, paid and received");
    y = legend(&mut body, y + 22);
    y = panel(&mut body, y + 12, &by_region);
    text(&mut body, (24, y + 24), "head", "Sectors: what communities paid into projects");
    y = panel(&mut body, y + 42, &by_sector);
    let height = y + 24;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\">\n<title>{}</title>\n<style>text{{font-family:sans-serif;fill:#222;font-size:13px}}.title{{font-size:24px;\
         font-weight:bold}}.head{{font-size:16px;font-weight:bold}}.small{{fill:#555;font-size:12px}}.name{{text-anchor:end}}\
         </style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        escaped(&title)
    )
}

fn bars(sums: &Sums) -> Vec<Bar> {
    let bar = |colour, what, amount: &String| Bar { colour, what, amount: amount.clone() };
    vec![bar(OWED, "owed", &sums.assessed), bar(PAID, "paid", &sums.paid), bar(RECEIVED, "received", &sums.received)]
}

/// Draws rows of bars from `y` on, all to one scale, and says where they end.
fn panel(body: &mut String, mut y: u32, rows: &[(String, Vec<Bar>)]) -> u32 {
    let most = rows.iter().flat_map(|(_, bars)| bars).map(|bar| dollars(&bar.amount)).fold(0.0, f64::max);
    for (name, bars) in rows {
        let tall = BAR * u32::try_from(bars.len()).unwrap_or(1);
        text(body, (LEFT - 12, y + tall / 2 + 5), "name", name);
        for bar in bars {
            let length = if most > 0.0 { (dollars(&bar.amount).max(0.0) / most * LONGEST).max(1.0) } else { 1.0 };
            let _infallible = writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{}\"><title>{} {}: ${}</title></rect>",
                BAR - 2,
                bar.colour,
                escaped(name),
                bar.what,
                escaped(&bar.amount)
            );
            let _infallible = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{}\" class=\"small\">${}</text>",
                f64::from(LEFT) + length + 8.0,
                y + BAR - 3,
                escaped(&bar.amount)
            );
            y += BAR;
        }
        y += GAP;
    }
    y
}

fn legend(body: &mut String, y: u32) -> u32 {
    for (at, (colour, what)) in (0_u32..).zip([(OWED, "owed"), (PAID, "paid"), (RECEIVED, "received")]) {
        let x = LEFT + at * 110;
        let _infallible =
            writeln!(body, "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>", y - 10);
        text(body, (x + 18, y), "small", what);
    }
    y
}

fn text(body: &mut String, (x, y): (u32, u32), class: &str, said: &str) {
    let _infallible = writeln!(body, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escaped(said));
}

/// How long a bar is to be: exactness ends where pixels do.
fn dollars(amount: &str) -> f64 {
    amount.parse().unwrap_or(0.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
