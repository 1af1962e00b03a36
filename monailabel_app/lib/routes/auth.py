"""Signing in, as MONAI Label's clients do it: user and password for a token.

A person's token is also the password, so that 3D Slicer, which asks for both, can sign in.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from monailabel.config import settings
from monailabel.endpoints.user.auth import User

from monailabel_app.lib.auth import current_user
from monailabel_app.lib.errors import UnauthenticatedError
from monailabel_app.lib.tokens import Tokens


def auth_router(tokens: Tokens) -> APIRouter:
    """The routes of a server that asks for tokens; without them, 404 tells clients so.

    Args:
        tokens: The known ones.
    """
    router = APIRouter(prefix="/auth", tags=["Auth"])

    @router.get("/")
    def auth_enabled() -> dict[str, Any]:
        """Say that a token is needed."""
        return {
            "enabled": True,
            "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID,
            "realm": "lfusion",
        }

    @router.post("/token")
    def access_token(
        username: Annotated[str, Form()], password: Annotated[str, Form()]
    ) -> dict[str, str]:
        """Confirm a user's token, given as the password."""
        account = tokens.account(password)
        if account is None or account.name != username:
            raise UnauthenticatedError(
                "expected a user of this server and, as the password, their token"
            )
        return {"access_token": password, "token_type": "bearer"}

    @router.get("/token/valid")
    def valid_token(user: Annotated[User, Depends(current_user)]) -> dict[str, Any]:
        """Who the caller is."""
        described: dict[str, Any] = user.model_dump()
        return described

    return router
