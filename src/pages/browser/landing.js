// Gives each command on the page a button that copies it.
for (const command of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  const text = command.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text).then(
      () => (button.textContent = "Copied"),
      () => getSelection().selectAllChildren(command.firstElementChild ?? command),
    );
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  command.after(button);
}
