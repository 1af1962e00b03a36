"""Where to work: a server, or the demonstration."""

from __future__ import annotations

from magicgui.widgets import Container, LineEdit, Password
from psygnal import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_lfusion.ui.style import column, label, row


class ConnectionPanel(QWidget):
    """Address, token and user, or the demonstration.

    Args:
        url: To begin with.
        user: To begin with.
    """

    server_wanted = Signal(str, str, str)
    """Address, user and token."""
    demo_wanted = Signal(str)
    """User."""

    def __init__(self, url: str, user: str) -> None:
        super().__init__()
        self._url = LineEdit(
            value=url, label="Server", tooltip="Address of lfusion serve or any MONAI Label server"
        )
        self._user = LineEdit(
            value=user, label="User", tooltip="Under this name images are reserved and labels saved"
        )
        self._token = Password(
            label="Token", tooltip="From the server's administrator; empty without authentication"
        )
        form = Container(widgets=[self._url, self._user, self._token], layout="form")
        form.margins = (0, 0, 0, 0)
        connect, demo = QPushButton("Connect"), QPushButton("Demo")
        connect.setToolTip("Connect to the server (Enter in a field, F3 anywhere)")
        connect.setShortcut("F3")
        demo.setToolTip("Try everything on simulated scans, without a server (F2)")
        demo.setShortcut("F2")
        connect.clicked.connect(self._connect)
        demo.clicked.connect(lambda: self.demo_wanted.emit(self._user.value.strip()))
        for field in (self._url, self._user, self._token):
            field.native.returnPressed.connect(self._connect)
        self.connect_button, self.demo_button = connect, demo
        layout = column(
            label("Correct what the model is unsure of", "title"),
            label("Images come in the order in which your corrections teach the model most."),
            form.native,
            row(connect, demo, stretch=True),
            parent=self,
        )
        layout.addStretch(1)

    def set_busy(self, busy: bool) -> None:
        """Wait for an answer.

        Args:
            busy: Whether one is on its way.
        """
        self.connect_button.setEnabled(not busy)
        self.demo_button.setEnabled(not busy)
        self.connect_button.setText("Connecting …" if busy else "Connect")
        self.connect_button.setShortcut("F3")  # another text takes it away

    def _connect(self) -> None:
        values = self._url.value, self._user.value.strip(), self._token.value
        self.server_wanted.emit(*values)
