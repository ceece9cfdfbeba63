//! A shipped file, of which parts are replaced.

/// A deployment file under construction.
pub(super) struct Template {
    head: String,
    body: String,
}

impl Template {
    /// The shipped file, with other words at its head.
    pub(super) fn new(shipped: &str, how: &str) -> Template {
        let body = shipped.lines().skip_while(|line| line.starts_with('#') || line.is_empty());
        let body = body.map(|line| format!("{line}\n")).collect();
        let head = how.lines().map(|line| format!("# {line}\n")).collect();
        Template { head, body }
    }

    /// Replaces a text that is there once.
    ///
    /// # Errors
    /// Where the shipped file does not have it once, which a test rules out.
    pub(super) fn replace(&mut self, old: &str, new: &str) -> Result<(), String> {
        if self.body.matches(old).count() != 1 {
            return Err(format!("the template has not once `{old}`"));
        }
        self.body = self.body.replacen(old, new, 1);
        Ok(())
    }

    /// Adds a line below the only one that says `line`, as far in.
    ///
    /// # Errors
    /// As [`Template::replace`].
    pub(super) fn add_below(&mut self, line: &str, new: &str) -> Result<(), String> {
        let (at, header) = self.only(line)?;
        let mut lines: Vec<String> = self.body.lines().map(str::to_owned).collect();
        lines.insert(at + 1, format!("{:1$}{new}", "", indentation(&header)));
        self.body = lines.into_iter().map(|line| line + "\n").collect();
        Ok(())
    }

    /// Adds a text before the only line that says `line`, as far in.
    ///
    /// # Errors
    /// As [`Template::replace`].
    pub(super) fn add_before(&mut self, line: &str, text: &str) -> Result<(), String> {
        let (at, header) = self.only(line)?;
        let new = text.lines().map(|line| format!("{:1$}{line}", "", indentation(&header)));
        let mut lines: Vec<String> = self.body.lines().map(str::to_owned).collect();
        lines.splice(at..at, new);
        self.body = lines.into_iter().map(|line| line + "\n").collect();
        Ok(())
    }

    /// The only line that says `line`, with its number.
    fn only(&self, line: &str) -> Result<(usize, String), String> {
        let mut found =
            self.body.lines().enumerate().filter(|(_, candidate)| candidate.trim() == line);
        match (found.next(), found.next()) {
            (Some((at, header)), None) => Ok((at, header.to_owned())),
            _ => Err(format!("the template has not one line `{line}`")),
        }
    }

    /// Replaces what is indented deeper than the only line that says `line`.
    ///
    /// # Errors
    /// As [`Template::replace`].
    pub(super) fn replace_block(&mut self, line: &str, text: &str) -> Result<(), String> {
        let (at, header) = self.only(line)?;
        let lines: Vec<&str> = self.body.lines().collect();
        let (before, rest) = lines.split_at(at + 1);
        let indent = indentation(&header);
        let deeper = |line: &&&str| line.trim().is_empty() || indentation(line) > indent;
        let block: Vec<&&str> = rest.iter().take_while(deeper).collect();
        // Blank lines after the block belong to what follows.
        let blank = block.iter().rev().take_while(|line| line.trim().is_empty()).count();
        let after = rest.iter().skip(block.len() - blank);
        let new = text.lines().map(|line| format!("{:1$}{line}", "", indent + 2));
        let all =
            before.iter().map(ToString::to_string).chain(new).chain(after.map(ToString::to_string));
        self.body = all.map(|line| line + "\n").collect();
        Ok(())
    }

    /// Takes out the only line that says `line`, with what is indented deeper.
    ///
    /// # Errors
    /// As [`Template::replace`].
    pub(super) fn remove_block(&mut self, line: &str) -> Result<(), String> {
        self.replace_block(line, "")?;
        let (at, _) = self.only(line)?;
        let lines = self.body.lines().enumerate().filter(|(number, _)| *number != at);
        self.body = lines.map(|(_, line)| format!("{line}\n")).collect();
        Ok(())
    }

    /// What is indented deeper than the only line that says `line`, from the margin on.
    ///
    /// # Errors
    /// As [`Template::replace`].
    pub(super) fn block(&self, line: &str) -> Result<String, String> {
        let (at, header) = self.only(line)?;
        let indent = indentation(&header);
        let deeper = |line: &&str| line.trim().is_empty() || indentation(line) > indent;
        let lines = self.body.lines().skip(at + 1).take_while(deeper);
        let at_margin = |line: &str| line.get(indent + 2..).unwrap_or_default().to_owned() + "\n";
        let text: String = lines.map(at_margin).collect();
        Ok(text.trim_end().to_owned() + "\n")
    }

    /// The finished file.
    pub(super) fn text(self) -> String {
        format!("{}\n{}", self.head, self.body)
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
