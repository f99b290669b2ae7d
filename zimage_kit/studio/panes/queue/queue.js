// @ts-check
// The session's jobs as a table; this panel's have buttons.

import { reached } from "../../js/kernel.js";

export default {
  render({ model, el, signal }) {
    const text = (key) => model.get("texts")[key] ?? key;
    el.classList.add("zk-queue-pane");
    const table = document.createElement("table");
    const body = document.createElement("tbody");
    const empty = document.createElement("p");
    const more = document.createElement("p");
    empty.className = more.className = "zk-cost";
    table.append(head(), body);
    el.append(table, empty, more);
    const rows = new Map(); // job -> its row: a row that stays keeps its buttons, and one of them the focus

    function head() {
      const made = document.createElement("thead");
      const line = document.createElement("tr");
      for (const name of ["prompt", "whose", "now", "do"]) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = text(name);
        line.append(cell);
      }
      made.append(line);
      return made;
    }

    function rowOf(job) {
      if (rows.has(job.id)) return rows.get(job.id);
      const line = document.createElement("tr");
      const cells = ["prompt", "whose", "now", "do"].map((name) => {
        const cell = document.createElement("td");
        cell.className = `zk-queue-${name}`;
        line.append(cell);
        return cell;
      });
      const button = (name, ask) => {
        const made = document.createElement("button");
        made.type = "button";
        made.className = "zk-button";
        made.textContent = text(name);
        made.title = text(`${name}_help`);
        made.addEventListener("click", () => reached(model, el, { do: ask, id: job.id }), { signal });
        cells[3].append(made);
        return made;
      };
      const row = { line, cells, first: button("first", "hasten"), cancel: button("cancel", "cancel") };
      rows.set(job.id, row);
      return row;
    }

    function show() {
      const jobs = model.get("rows");
      const there = new Set(jobs.map((job) => job.id));
      for (const [id, row] of rows) {
        if (there.has(id)) continue;
        row.line.remove();
        rows.delete(id);
      }
      jobs.forEach((job, place) => {
        const { line, cells, first, cancel } = rowOf(job);
        cells[0].textContent = job.prompt;
        cells[0].title = job.prompt;
        cells[1].textContent = [job.owner, job.model].filter(Boolean).join(" · ");
        cells[2].textContent = job.state;
        first.hidden = cancel.hidden = !job.own;
        first.disabled = job.running || job.first;
        line.classList.toggle("zk-now", job.running);
        if (body.children[place] !== line) body.insertBefore(line, body.children[place] ?? null);
      });
      table.hidden = jobs.length === 0;
      empty.hidden = jobs.length > 0;
      empty.textContent = text("empty");
      more.textContent = model.get("more");
    }

    model.on("change:rows change:more", show);
    show();
  },
};
