document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("creamery-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch (e) { /* a page from a file may have no storage */ }
