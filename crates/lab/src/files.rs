//! The shop's folder.

/// Sample files: a path with `/` between its parts, relative to the folder, and the content.
#[must_use]
pub fn sample_files() -> &'static [(&'static str, &'static str)] {
    &[
        ("hello.txt", "hello, mcp\n"),
        (
            "notes/todo.md",
            "# To do\n\n- call Acme Corp about the open order\n- archive the reports of 2025\n",
        ),
        ("notes/shop.md", "# The shop\n\n243 customers, eight cities. The largest customer is Acme Corp.\n"),
        (
            "reports/2026-q2.csv",
            "month,orders,total\n2026-04,61,412300\n2026-05,58,398750\n2026-06,64,431020\n",
        ),
        (
            "reports/2026-q3.csv",
            "month,orders,total\n2026-07,55,377480\n2026-08,49,340915\n2026-09,67,455260\n",
        ),
    ]
}
