//! `covenant ledger report`: a year of the covenant, for people.

use std::io::Write;
use std::path::Path;

use covenant_ledger::{Amount, Sums, YearReport, plot};
use covenant_node::api::ApiError;

use crate::client::Client;
use crate::output::{Output, Tone};

/// Cells of the longest bar in a terminal.
const BAR_CELLS: i128 = 24;

pub(super) async fn show(client: &Client, output: &Output, year: u16, svg: Option<&Path>) -> Result<(), ApiError> {
    let report: YearReport = client.get(&format!("/v1/ledger/report?year={year}")).await?;
    output.view(&report, |output| text(output, &report));
    if let Some(file) = svg {
        let written = std::fs::File::create_new(file).and_then(|mut svg| svg.write_all(plot(&report).as_bytes()));
        written.map_err(|error| {
            ApiError::failure(format!("{} could not be written: {error}; the report above is whole", file.display()))
        })?;
        output.talk(&format!("the picture is in {}", file.display()));
    }
    Ok(())
}

fn text(output: &Output, report: &YearReport) -> String {
    let table = report.table.as_deref().map_or_else(
        || "it is not assessed".to_owned(),
        |table| format!("assessed by table {}", table.get(..16).unwrap_or(table)),
    );
    let sums = &report.sums;
    let head = format!(
        "The covenant in {}: {table}\nnations owe ${}, paid ${}, received ${}; communities were given ${}, the reserve ${}; \
         paid into projects ${}",
        report.year, sums.assessed, sums.paid, sums.received, report.communities, report.reserve, sums.into_projects
    );
    let regions: Vec<_> = report.regions.iter().map(|row| line(&row.region, None, &row.sums)).collect();
    let nations: Vec<_> =
        report.nations.iter().map(|row| line(&row.nation, Some((&row.name, &row.region)), &row.sums)).collect();
    let most = report.sectors.iter().map(|row| cents(&row.amount)).max().unwrap_or(0);
    let mut sectors = Vec::new();
    for row in &report.sectors {
        sectors.push(vec![
            (Tone::Good, row.sector.clone()),
            money(&row.amount),
            (Tone::Plain, row.payments.to_string()),
            (Tone::Good, bar(&row.amount, most)),
        ]);
        for project in &row.projects {
            sectors.push(vec![
                (Tone::Plain, format!("  {}", project.name)),
                money(&project.amount),
                (Tone::Plain, project.payments.to_string()),
                (Tone::Plain, String::new()),
            ]);
        }
    }
    let amount = |name: &str| format!("{name:>20}");
    let columns = ["OWED", "PAID", "RECEIVED", "INTO PROJECTS"].map(amount);
    let heading = |first: &[&str]| {
        let mut heading: Vec<String> = first.iter().map(|name| (*name).to_owned()).collect();
        heading.extend(columns.iter().cloned());
        heading
    };
    let table = |heading: &[String], rows: &[Vec<(Tone, String)>]| {
        output.table(&heading.iter().map(String::as_str).collect::<Vec<_>>(), rows)
    };
    let unknown = if report.unknown.is_empty() {
        String::new()
    } else {
        format!("\nwithout a known GDP, so nothing is owed and nothing guessed: {}", report.unknown.join(", "))
    };
    format!(
        "{head}\n\n{}\n\n{}\n\n{}{unknown}\n{}",
        table(&heading(&["REGION"]), &regions),
        table(&["SECTOR".to_owned(), amount("AMOUNT"), "PAYMENTS".to_owned(), String::new()], &sectors),
        table(&heading(&["NATION", "NAME", "REGION"]), &nations),
        super::freshness(&report.as_of)
    )
}

fn line(first: &str, of: Option<(&str, &str)>, sums: &Sums) -> Vec<(Tone, String)> {
    let mut row = vec![(Tone::Plain, first.to_owned())];
    if let Some((name, region)) = of {
        row.extend([(Tone::Plain, name.to_owned()), (Tone::Plain, region.to_owned())]);
    }
    row.extend([&sums.assessed, &sums.paid, &sums.received, &sums.into_projects].map(|amount| money(amount)));
    row
}

fn money(amount: &str) -> (Tone, String) {
    (Tone::Plain, format!("{amount:>20}"))
}

fn bar(amount: &str, most: i128) -> String {
    let cells = cents(amount).saturating_mul(BAR_CELLS).checked_div(most).unwrap_or(0);
    "█".repeat(usize::try_from(cells).unwrap_or(0))
}

fn cents(amount: &str) -> i128 {
    amount.parse().map_or(0, Amount::as_cents)
}
