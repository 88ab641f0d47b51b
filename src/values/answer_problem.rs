//! Floor 1: the problem of an answer whose status alone does not explain why it was not counted.

use std::fmt;

/// The problem of an answer whose status alone does not explain why it was not counted. `Display` continues a sentence,
/// as in `answered 200 to check, but the body is an HTML page`.
///
/// ```
/// use cluster_client::AnswerProblem;
///
/// assert_eq!(AnswerProblem::HtmlPage.to_string(), "but the body is an HTML page");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerProblem {
    /// The mapping lists no such answer.
    Unlisted,
    /// A test needs the body, which was cut short, came too slowly or is larger than 1 MiB.
    BodyCut,
    /// A test needs the body, which is not JSON or is nested too deep.
    NotJson,
    /// Tests with different meanings hold, or the body has a name twice in one object.
    TwoMeanings,
    /// The answer says that the group is present, and is an HTML page, such as a login page.
    HtmlPage,
    /// The answer says that the group is present, and names another group.
    OtherGroup,
    /// The group is still changing.
    Changing,
}

impl AnswerProblem {
    /// The word in JSON, such as `unlisted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            AnswerProblem::Unlisted => "unlisted",
            AnswerProblem::BodyCut => "body_cut",
            AnswerProblem::NotJson => "not_json",
            AnswerProblem::TwoMeanings => "two_meanings",
            AnswerProblem::HtmlPage => "html_page",
            AnswerProblem::OtherGroup => "other_group",
            AnswerProblem::Changing => "changing",
        }
    }
}

impl fmt::Display for AnswerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            AnswerProblem::Unlisted => "which the API does not list",
            AnswerProblem::BodyCut => "but the body was cut short or is too large",
            AnswerProblem::NotJson => "but the body is not JSON",
            AnswerProblem::TwoMeanings => "which has two meanings in the API",
            AnswerProblem::HtmlPage => "but the body is an HTML page",
            AnswerProblem::OtherGroup => "but the body names another group",
            AnswerProblem::Changing => "still changing",
        })
    }
}
