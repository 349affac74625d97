using System.Collections.Immutable;
using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Editing;
using Microsoft.CodeAnalysis.Formatting;
using Microsoft.CodeAnalysis.Simplification;

namespace Yarnish.Analyzers;

/// <summary>
/// Copies what a function reads of an object to locals before the call, so that the values travel and the object stays; asks the task for its cancellation instead of the driver.
/// </summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(CopyToLocalFix))]
[Shared]
public sealed class CopyToLocalFix : CodeFixProvider
{
    /// <inheritdoc/>
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = [Rules.ThisId, Rules.HandleId];

    /// <inheritdoc/>
    public override FixAllProvider GetFixAllProvider() => WellKnownFixAllProviders.BatchFixer;

    /// <inheritdoc/>
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        var root = await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false);
        var model = await context.Document.GetSemanticModelAsync(context.CancellationToken).ConfigureAwait(false);
        if (root?.FindNode(context.Span, getInnermostNodeForTie: true) is not { } node || model is null || FunctionAround(node, model) is not { } function)
        {
            return;
        }

        var diagnostic = context.Diagnostics[0];
        if (diagnostic.Id == Rules.ThisId)
        {
            if (HasPlace(function) && ReadsOfThis(function, model) is { } reads)
            {
                Register("Copy what it reads to locals", cancellation => CopyAsync(context.Document, function, reads, cancellation));
            }

            return;
        }

        if (model.GetSymbolInfo(node, context.CancellationToken).Symbol is not { } handle)
        {
            return;
        }

        if (Cancellations(function, handle, model) is { } cancellations)
        {
            Register("Use the cancellation of the task", cancellation => UseTaskAsync(context.Document, cancellations, cancellation));
        }
        else if (HasPlace(function) && ReadsOf(function, handle, model) is { } values)
        {
            Register("Copy what it reads to locals", cancellation => CopyAsync(context.Document, function, values, cancellation));
        }

        void Register(string title, Func<CancellationToken, Task<Document>> change) => context.RegisterCodeFix(CodeAction.Create(title, change, title), diagnostic);
    }

    /// <summary>An expression that is to become a local, by the member it reads.</summary>
    private sealed class Read(ExpressionSyntax expression, ISymbol member)
    {
        public ExpressionSyntax Expression => expression;

        public ISymbol Member => member;
    }

    // The outermost function that is given to a collection.
    private static AnonymousFunctionExpressionSyntax? FunctionAround(SyntaxNode node, SemanticModel model) => node.AncestorsAndSelf()
        .OfType<AnonymousFunctionExpressionSyntax>()
        .LastOrDefault(function => function.Parent is ArgumentSyntax { Parent.Parent: InvocationExpressionSyntax call }
            && model.GetSymbolInfo(call).Symbol is IMethodSymbol method && YarnishApi.IsCollectionCall(method));

    // All that is read of 'this'; null when something else is done with it, or what is read could not travel either.
    private static List<Read>? ReadsOfThis(AnonymousFunctionExpressionSyntax function, SemanticModel model)
    {
        var reads = new List<Read>();
        foreach (var node in function.DescendantNodes())
        {
            switch (node)
            {
                case ThisExpressionSyntax { Parent: not MemberAccessExpressionSyntax }:
                case BaseExpressionSyntax:
                    return null;
                case IdentifierNameSyntax name when model.GetSymbolInfo(name).Symbol is { } symbol && IsOfThis(name, symbol):
                    var expression = name.Parent is MemberAccessExpressionSyntax { Expression: ThisExpressionSyntax } access && access.Name == name ? access : (ExpressionSyntax)name;
                    if (!CanCopy(expression, symbol))
                    {
                        return null;
                    }

                    reads.Add(new(expression, symbol));
                    break;
            }
        }

        return reads.Count == 0 ? null : reads;
    }

    // A member by its bare name or through 'this', not one of another object.
    private static bool IsOfThis(IdentifierNameSyntax name, ISymbol symbol) => symbol switch
    {
        IParameterSymbol parameter => Captures.IsOfPrimaryConstructor(parameter),
        IFieldSymbol { IsStatic: false } or IPropertySymbol { IsStatic: false } or IMethodSymbol { IsStatic: false, MethodKind: MethodKind.Ordinary } or IEventSymbol { IsStatic: false } =>
            name.Parent switch
            {
                MemberAccessExpressionSyntax access when access.Name == name => access.Expression is ThisExpressionSyntax,
                MemberBindingExpressionSyntax => false,
                // new Job { Limit = 3 } and the like name members of the new object.
                AssignmentExpressionSyntax { Parent: InitializerExpressionSyntax } assignment when assignment.Left == name => false,
                NameColonSyntax or NameEqualsSyntax or SubpatternSyntax => false,
                _ => true,
            },
        _ => false,
    };

    private static List<Read>? ReadsOf(AnonymousFunctionExpressionSyntax function, ISymbol handle, SemanticModel model)
    {
        var reads = new List<Read>();
        foreach (var name in Uses(function, handle, model))
        {
            if (name.Parent is not MemberAccessExpressionSyntax access || access.Expression != name || model.GetSymbolInfo(access).Symbol is not { } member || !CanCopy(access, member))
            {
                return null;
            }

            reads.Add(new(access, member));
        }

        return reads.Count == 0 ? null : reads;
    }

    private static bool CanCopy(ExpressionSyntax expression, ISymbol member)
    {
        var type = member switch { IFieldSymbol field => field.Type, IPropertySymbol { IsIndexer: false } property => property.Type, IParameterSymbol parameter => parameter.Type, _ => null };
        return type is not null && Travel.Find(type) is null && !IsWritten(expression);
    }

    private static bool IsWritten(ExpressionSyntax expression) => expression.Parent switch
    {
        AssignmentExpressionSyntax assignment => assignment.Left == expression,
        PrefixUnaryExpressionSyntax unary => unary.IsKind(SyntaxKind.PreIncrementExpression) || unary.IsKind(SyntaxKind.PreDecrementExpression),
        PostfixUnaryExpressionSyntax unary => unary.IsKind(SyntaxKind.PostIncrementExpression) || unary.IsKind(SyntaxKind.PostDecrementExpression),
        ArgumentSyntax argument => !argument.RefKindKeyword.IsKind(SyntaxKind.None),
        _ => false,
    };

    // Every use of a token or its source, each as the expression that stands for the token; null when the handle is another or is used in another way.
    private static List<ExpressionSyntax>? Cancellations(AnonymousFunctionExpressionSyntax function, ISymbol handle, SemanticModel model)
    {
        var type = (handle as ILocalSymbol)?.Type ?? (handle as IParameterSymbol)?.Type;
        if (type is not { Name: "CancellationToken" or "CancellationTokenSource", ContainingNamespace: { Name: "Threading", ContainingNamespace.Name: "System" } })
        {
            return null;
        }

        var tokens = new List<ExpressionSyntax>();
        foreach (var name in Uses(function, handle, model))
        {
            var access = name.Parent as MemberAccessExpressionSyntax;
            if (type.Name == "CancellationToken" || access?.Name.Identifier.ValueText == "IsCancellationRequested")
            {
                tokens.Add(name);
            }
            else if (access?.Name.Identifier.ValueText == "Token")
            {
                tokens.Add(access);
            }
            else
            {
                return null;
            }
        }

        return tokens.Count == 0 ? null : tokens;
    }

    private static IEnumerable<IdentifierNameSyntax> Uses(AnonymousFunctionExpressionSyntax function, ISymbol symbol, SemanticModel model) => function.DescendantNodes()
        .OfType<IdentifierNameSyntax>()
        .Where(name => name.Identifier.ValueText == symbol.Name && SymbolEqualityComparer.Default.Equals(model.GetSymbolInfo(name).Symbol, symbol));

    private static bool HasPlace(SyntaxNode function) => StatementOf(function) is not null || ArrowOf(function) is not null;

    // Where locals can be declared before the call; none in members that are one expression.
    private static StatementSyntax? StatementOf(SyntaxNode function) => function.Ancestors()
        .TakeWhile(at => at is not MemberDeclarationSyntax or GlobalStatementSyntax)
        .OfType<StatementSyntax>()
        .FirstOrDefault(at => at.Parent is BlockSyntax or SwitchSectionSyntax or GlobalStatementSyntax);

    // A method that is one expression: it can become a block.
    private static ArrowExpressionClauseSyntax? ArrowOf(SyntaxNode function) => function.Ancestors().OfType<ArrowExpressionClauseSyntax>().FirstOrDefault(arrow => arrow.Parent is MethodDeclarationSyntax);

    private static async Task<Document> UseTaskAsync(Document document, List<ExpressionSyntax> tokens, CancellationToken cancellation)
    {
        var editor = await DocumentEditor.CreateAsync(document, cancellation).ConfigureAwait(false);
        foreach (var token in tokens)
        {
            var task = SyntaxFactory.ParseExpression("global::Yarnish.Executor.TaskContext.Current!.Cancellation").WithTriviaFrom(token).WithAdditionalAnnotations(Simplifier.Annotation, Simplifier.AddImportsAnnotation);
            editor.ReplaceNode(token, task);
        }

        return editor.GetChangedDocument();
    }

    private static async Task<Document> CopyAsync(Document document, AnonymousFunctionExpressionSyntax function, List<Read> reads, CancellationToken cancellation)
    {
        var editor = await DocumentEditor.CreateAsync(document, cancellation).ConfigureAwait(false);
        var statement = StatementOf(function);
        var arrow = statement is null ? ArrowOf(function)! : null;
        var taken = new HashSet<string>(editor.SemanticModel.LookupSymbols(function.SpanStart).Select(symbol => symbol.Name), StringComparer.Ordinal);
        taken.UnionWith((statement?.Parent ?? arrow!).DescendantTokens().Where(token => token.IsKind(SyntaxKind.IdentifierToken)).Select(token => token.ValueText));
        var locals = new List<StatementSyntax>();
        var names = new Dictionary<SyntaxNode, string>();
        foreach (var group in reads.GroupBy(read => read.Member, SymbolEqualityComparer.Default))
        {
            var name = NameFor(group.Key!, taken);
            locals.Add(SyntaxFactory.LocalDeclarationStatement(
                SyntaxFactory.VariableDeclaration(SyntaxFactory.IdentifierName("var")).AddVariables(
                    SyntaxFactory.VariableDeclarator(name).WithInitializer(SyntaxFactory.EqualsValueClause(group.First().Expression.WithoutTrivia())))));
            foreach (var read in group)
            {
                names.Add(read.Expression, name);
            }
        }

        if (arrow is null)
        {
            SyntaxNode before = statement!.Parent is GlobalStatementSyntax global ? global : statement;
            editor.InsertBefore(before, locals.Select(local => before is GlobalStatementSyntax ? (SyntaxNode)SyntaxFactory.GlobalStatement(local) : local));
            foreach (var pair in names)
            {
                editor.ReplaceNode(pair.Key, SyntaxFactory.IdentifierName(pair.Value).WithTriviaFrom(pair.Key));
            }
        }
        else
        {
            var method = (MethodDeclarationSyntax)arrow.Parent!;
            var expression = arrow.Expression.ReplaceNodes(names.Keys, (old, _) => SyntaxFactory.IdentifierName(names[old]).WithTriviaFrom(old));
            var gives = editor.SemanticModel.GetDeclaredSymbol(method, cancellation) is { ReturnsVoid: false } symbol
                && !(symbol.IsAsync && symbol.ReturnType is INamedTypeSymbol { IsGenericType: false });
            locals.Add(gives ? SyntaxFactory.ReturnStatement(expression) : SyntaxFactory.ExpressionStatement(expression));
            editor.ReplaceNode(method, method.WithExpressionBody(null).WithSemicolonToken(default).WithBody(SyntaxFactory.Block(locals)).WithAdditionalAnnotations(Formatter.Annotation));
        }

        return editor.GetChangedDocument();
    }

    private static string NameFor(ISymbol member, HashSet<string> taken)
    {
        var bare = member.Name.TrimStart('_');
        var name = bare.Length == 0 ? "value" : char.ToLowerInvariant(bare[0]) + bare.Substring(1);
        if (SyntaxFacts.GetKeywordKind(name) != SyntaxKind.None)
        {
            name += "Value";
        }

        while (!taken.Add(name))
        {
            name += "Copy";
        }

        return name;
    }
}
