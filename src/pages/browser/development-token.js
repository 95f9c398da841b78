// Runs in the browser, as a module. The gateway prints links that end in #key=…, and a page can exchange each key once
// for the token for development. The token is kept for this browser tab, so that the other pages and a reload have it.
const KEPT = "kyc-gateway:development-token";

const keyOfLink = () => new URLSearchParams(location.hash.slice(1)).get("key");

// A link that is pasted into the tab of an open page changes only the fragment, and loads nothing.
addEventListener("hashchange", () => keyOfLink() !== null && location.reload());

/** The token for development; null if no unused link was opened in this tab, or the token no longer works. */
export async function developmentToken() {
  const key = keyOfLink();
  if (key !== null) await exchange(key);
  const token = sessionStorage.getItem(KEPT);
  if (token === null) return null;
  const headers = { authorization: `Bearer ${token}` };
  const { status } = await fetch("/graphql?query={__typename}", { headers });
  if (status !== 401) return token;
  sessionStorage.removeItem(KEPT);
  return null;
}

async function exchange(key) {
  // The key leaves the address first, so that neither the history nor a bookmark keeps it.
  history.replaceState(null, "", location.pathname + location.search);
  const response = await fetch("/development-token", { method: "POST", body: key });
  const answer = await response.json();
  if (response.ok) sessionStorage.setItem(KEPT, answer.token);
  else showNotice(response.status === 403 ? answer.error.message : "This gateway gives pages no token.");
}

function showNotice(text) {
  const notice = document.createElement("dialog");
  const close = Object.assign(document.createElement("button"), { textContent: "Continue without a token" });
  close.addEventListener("click", () => notice.close());
  notice.append(Object.assign(document.createElement("p"), { textContent: text }), close);
  document.body.append(notice);
  notice.showModal();
}
