//! The findings for people (one line each, with the advice below) and for programs.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

pub(super) mod bundle;

use super::{Examination, Finding, Verdict, checks};
use crate::{
    exit::{CliError, Code},
    output::{Output, Report, printable},
};

/// The width of the longest id, for alignment.
fn id_width() -> usize {
    checks().map(|check| check.id.len()).max().unwrap_or_default()
}

/// All checks and what each one examines.
pub fn list() -> Report {
    let rows = checks().map(|check| vec![check.id.into(), check.about.into()]).collect();
    Report::List { columns: &["id", "about"], rows }
}

/// The findings for programs.
pub fn document(examination: &Examination) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "id": finding.check.id, "about": finding.check.about, "status": finding.verdict.as_str(),
            "detail": finding.detail, "advice": finding.advice,
        })
    };
    let checks: Vec<Value> = examination.findings.iter().map(finding).collect();
    json!({ "status": examination.worst().as_str(), "checks": checks })
}

/// The findings for people; `output` determines the colours and what is omitted.
pub fn text(examination: &Examination, output: Output) -> String {
    let mut text = String::new();
    for finding in &examination.findings {
        if output.is_quiet() && finding.verdict < Verdict::Warning {
            continue;
        }
        let word = output.paint(style(finding.verdict), &format!("{:<8}", finding.verdict.as_str()));
        text += &format!(
            "{word} {:<width$}  {}\n",
            finding.check.id,
            printable(&finding.detail),
            width = id_width()
        );
        if let Some(advice) = &finding.advice {
            text += &format!("         try: {}\n", printable(advice));
        }
    }
    if !output.is_quiet() {
        text += &summary(&examination.findings);
    }
    text
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    format!(
        "{} checks: {} ok, {} with a warning, {} failed, {} skipped.\n",
        findings.len(),
        count(Verdict::Ok),
        count(Verdict::Warning),
        count(Verdict::Failed),
        count(Verdict::Skipped)
    )
}

fn style(verdict: Verdict) -> Style {
    let color = match verdict {
        Verdict::Ok => AnsiColor::Green,
        Verdict::Warning => AnsiColor::Yellow,
        Verdict::Failed => AnsiColor::Red,
        Verdict::Skipped => return Style::new().dimmed(),
    };
    color.on_default()
}

/// Shows the findings; the worst one determines the exit code.
pub fn show(examination: &Examination, output: Output) -> Result<Code, CliError> {
    let bare = |finding: &Finding| {
        format!("{}\t{}\t{}\n", finding.check.id, finding.verdict.as_str(), printable(&finding.detail))
    };
    let values: String = examination.findings.iter().map(bare).collect();
    output.show_as(&document(examination), &text(examination, output), &values)?;
    Ok(match examination.worst() {
        Verdict::Failed => Code::Failed,
        Verdict::Warning => Code::Attention,
        Verdict::Ok | Verdict::Skipped => Code::Done,
    })
}
