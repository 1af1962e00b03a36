"""L-FUSION behind MONAI Label's protocol: the app, and a server with routes of its own."""
